// Package webhook calls backends over HTTP: events as CloudEvents 1.0 in binary
// mode, signed after the Standard Webhooks scheme.
//
// A Backend is one service at one or more URLs. It bounds everything that a
// backend can cost: calls and bytes in flight, the time of a call, the length of
// an answer. A circuit breaker for each URL keeps calls away from one that fails,
// unless it fails only for one client.
//
// The addresses of backends come from the operator and are often private ones
// (10.0.0.0/8, localhost), so no address is refused. Redirects are not followed: a
// backend must not choose where events and their signatures go. Proxies from the
// environment (HTTP_PROXY) are not used.
package webhook
