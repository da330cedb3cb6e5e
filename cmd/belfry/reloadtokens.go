package main

import (
	"slices"
	"strings"

	"belfry/config"
)

// placeOfKeys says whether a setting has keys of tokens, or says where they are.
func placeOfKeys(path string) bool {
	return path == "auth.jwt.secret" || path == "auth.jwt.public_key_file" || path == "auth.jwt.jwks"
}

// prepareTokens prepares other keys of tokens, and what else tokens must have. The first
// place of keys and the last one need a restart: without one tokens are not looked at.
func (r *reloader) prepareTokens(next *reloading, change *config.Reloaded, inForce *config.Config) error {
	now := &r.loaded.Auth.JWT
	if inForce.Auth.JWT.Configured() != (r.node.auth != nil) {
		for _, path := range change.Applied {
			if placeOfKeys(path) {
				change.Restart = append(change.Restart, path)
			}
		}
		change.Applied = slices.DeleteFunc(change.Applied, placeOfKeys)
		for _, c := range []*config.Config{&next.loaded, inForce} {
			c.Auth.JWT.Secret, c.Auth.JWT.PublicKeyFile, c.Auth.JWT.JWKS = now.Secret, now.PublicKeyFile, now.JWKS
		}
	}
	if r.node.auth == nil || !slices.ContainsFunc(change.Applied, func(path string) bool { return strings.HasPrefix(path, "auth.jwt.") }) {
		return nil
	}
	apply, err := r.node.auth.Prepare(authOptions(inForce, r.node.log).JWT)
	next.apply = append(next.apply, apply)
	return err
}

// settingNamed returns the setting of auth.jwt that an error names, else another one.
func settingNamed(err error, other string) string {
	if name, _, found := strings.Cut(err.Error(), ":"); found && strings.HasPrefix(name, "auth.jwt.") {
		return name
	}
	return other
}
