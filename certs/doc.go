// Package certs holds the certificates of a listener, and reads their files again
// when they change. A handshake uses the certificates that are in force when it
// begins, so a new certificate disconnects nobody.
//
// It knows only files and crypto/tls. Package push and package bridge take the
// *tls.Config of a Store.
package certs
