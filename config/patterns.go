package config

import (
	"fmt"
	"strconv"
	"strings"
)

// checkOrigin accepts what session.CompileOrigins compiles and nothing else;
// this package knows none of ours, so a test of cmd/belfry holds the two
// together.
func checkOrigin(pattern string) error {
	if pattern == "*" || pattern == "null" || strings.EqualFold(pattern, "file://") {
		return nil
	}
	const allowed = "allowed are scheme://host and scheme://*.host, each with or without :port or :*, null, file://, and *"
	refused := fmt.Errorf("%q; %s", pattern, allowed)
	if strings.ContainsFunc(pattern, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		return refused
	}
	scheme, host, _ := strings.Cut(pattern, "://")
	host, port := splitOrigin(host)
	if !schemeForm(strings.ToLower(scheme)) || host == "" || strings.ContainsAny(host, "/?#@,") {
		return refused
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != "" && port != "*" && (err != nil || n == 0 || len(port) > 5) {
		return fmt.Errorf("%q: port %q; allowed are 1 to 65535 and *", pattern, port)
	}
	if name := strings.TrimPrefix(host, "*."); name == "" || strings.Contains(name, "*") {
		return refused
	}
	return nil
}

// schemeForm says whether text can be a scheme (RFC 3986 §3.1).
func schemeForm(text string) bool {
	return text != "" && text[0] >= 'a' && text[0] <= 'z' && strings.Trim(text, "abcdefghijklmnopqrstuvwxyz0123456789+-.") == ""
}

// splitOrigin splits host[:port]; IPv6 addresses keep their brackets.
func splitOrigin(text string) (host, port string) {
	colon := strings.LastIndexByte(text, ':')
	if colon < 0 || strings.Contains(text[colon:], "]") {
		return text, ""
	}
	return text[:colon], text[colon+1:]
}

// checkPattern checks a topic, a prefix of topics ending in ".*", or "*".
// Topics are spelt as session.CheckTopic has it.
func checkPattern(pattern string) error {
	name := strings.TrimSuffix(pattern, ".*")
	bad := name == "" || len(pattern) > 128
	for token := range strings.SplitSeq(name, ".") {
		bad = bad || token == ""
	}
	for _, r := range name {
		plain := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		bad = bad || !plain && !strings.ContainsRune("_-.:/@", r)
	}
	if bad && pattern != "*" {
		return fmt.Errorf("%q; allowed are topics (1 to 128 of A-Z a-z 0-9 _ - . : / @, no empty token), prefixes ending in .*, and *", pattern)
	}
	return nil
}
