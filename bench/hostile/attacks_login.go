package hostile

import (
	"fmt"
	"strconv"
)

// loginAttacks make the node check tokens, fetch keys and ask a webhook.
func loginAttacks() []Attack {
	again := func(name, what string, counts []int, head func(aim Aim) func(n int) []byte) Attack {
		return Attack{Name: name, What: what, Counts: counts, Settings: tokenSettings, Plan: func(count int, aim Aim) Plan {
			return Plan{Count: count, Head: head(aim), Upgrade: true, Reads: true, Again: true}
		}}
	}
	unknown := again("unknown-keys", "handshakes with tokens of ever new key ids that no key has, and anew", usual[:], func(Aim) func(n int) []byte {
		return func(n int) []byte {
			return withToken(es256(nil, fmt.Sprintf(`{"alg":"ES256","kid":"%d"}`, n), `{"sub":"u"}`))
		}
	})
	unknown.Settings = []string{"auth.jwt.jwks=http://{backend}/jwks", "auth.jwt.jwks_interval=1s"}
	return []Attack{
		again("bad-tokens", "handshakes with 13 kinds of bad tokens, and anew", usual[:], func(aim Aim) func(n int) []byte {
			tokens := badTokens(aim)
			return func(n int) []byte { return withToken(tokens[n%len(tokens)]) }
		}),
		again("bad-signatures", "handshakes with tokens whose ECDSA signature is wrong, and anew", usual[:], func(aim Aim) func(n int) []byte {
			request := withToken(es256Wrong(aim.privateKey(), es256Header, claimsOf(aim.UID, "")))
			return func(int) []byte { return request }
		}),
		unknown,
		{
			Name: "auth", What: "flood of auth commands with valid tokens (ECDSA)", Counts: usual[:], Settings: tokenSettings,
			Plan: func(count int, aim Aim) Plan {
				key := aim.privateKey()
				return Plan{Count: count, Head: v1(count, aim), Upgrade: true, Cap: answered, Reads: true,
					Flood: func(n, _ int) []byte {
						uid := userOf(count, aim, n)
						return repeat(appendText(nil, authCommand(es256(key, es256Header, claimsOf(uid, "")))), flood)
					}}
			},
		},
		{
			Name: "hanging-webhook", What: "handshakes at once whose connect webhook hangs, and anew", Counts: []int{5000}, Memory: true, Grow: [2]int64{64 << 20, 0}, Longer: 2,
			Settings: []string{"auth.jwt.secret=" + secret, "auth.webhook.url=http://{backend}/decide"},
			Shut:     "the webhook that decides about them hangs",
			Plan: func(count int, aim Aim) Plan {
				return Plan{Count: count, Upgrade: true, Reads: true, Again: true,
					Head: func(n int) []byte {
						return upgradeRequest("/ws?uid="+userOf(count, aim, n)+"&"+hostileQuery, "belfry.v1")
					}}
			},
		},
	}
}

// withToken is a handshake with a token.
func withToken(token string) []byte { return upgradeRequest("/ws", "", "Authorization: Bearer "+token) }

func authCommand(token string) string {
	return `{"type":"auth","ref":1,"token":` + strconv.Quote(token) + `}`
}
