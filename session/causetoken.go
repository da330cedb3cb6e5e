package session

import "belfry/ws"

// Causes of refusals by package auth.
const (
	CauseTokenMissing   ws.Cause = "token_missing"   // no token, or an empty one
	CauseTokenPlace     ws.Cause = "token_place"     // the token is carried in a way that cannot be answered
	CauseTokenSize      ws.Cause = "token_size"      // longer than a token may be
	CauseTokenMalformed ws.Cause = "token_malformed" // not a JSON Web Token
	CauseTokenAlgorithm ws.Cause = "token_algorithm" // its algorithm is not allowed
	CauseTokenKey       ws.Cause = "token_key"       // no key has the id that it names
	CauseTokenSignature ws.Cause = "token_signature" // its signature is not valid
	CauseTokenExpired   ws.Cause = "token_expired"
	CauseTokenEarly     ws.Cause = "token_early"   // not valid yet
	CauseTokenClaims    ws.Cause = "token_claims"  // a claim is missing, or has a value that is not allowed
	CauseTokenRevoked   ws.Cause = "token_revoked" // it was issued before a time that the API has named
	CauseAuthQueue      ws.Cause = "auth_queue"    // too many tokens wait to be verified
	CauseAuthKeys       ws.Cause = "auth_keys"     // the keys of the identity provider are not known
)
