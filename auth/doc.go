// Package auth decides who a client is, by the token that the client carries: a
// JSON Web Token (RFC 7519) whose signature it checks with keys of the operator's
// identity provider.
//
// On a shard's goroutine it only takes the token out of the request and puts it
// into a bounded queue. A few goroutines of its own verify tokens and fetch keys;
// docs/goroutines.md lists them. Tokens and secrets are in no log line, error,
// refusal or metric: texts say what is wrong with a token and never repeat it.
package auth
