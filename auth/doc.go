// Package auth decides who a client is and what it may do.
//
// An Authenticator looks at the token that the client carries: a JSON Web Token (RFC
// 7519) whose signature it checks with keys of the operator's identity provider. A
// Webhook has a backend decide, alone or about the clients that the Authenticator has
// admitted, and a SubscribeWebhook about single topics. Revocations has the tokens that
// are not valid any more although they have not expired, and a RevocationSync keeps them
// the same on all nodes.
//
// On a shard's goroutine it only takes the token out of the request and puts it
// into a bounded queue. Goroutines of its own verify tokens, fetch keys and call
// webhooks; docs/goroutines.md lists them. Tokens and secrets are in no log line, error,
// refusal or metric: texts say what is wrong with a token and never repeat it.
package auth
