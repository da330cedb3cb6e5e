package config

import "time"

// AuthSettings is the section auth.
type AuthSettings struct {
	MaxLifetime    time.Duration `yaml:"max_lifetime" default:"24h" range:"1m..8760h" doc:"Longest time from when a token was issued to its expiry. Revocations are kept for so long."`
	MaxRevocations int           `yaml:"max_revocations" default:"65536" range:"1..16777216" doc:"Users whose tokens can be revoked at the same time; beyond it POST /v1/users/{uid}/expire gets 507."`
}
