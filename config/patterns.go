package config

import (
	"errors"
	"fmt"

	"belfry/message"
	"belfry/ws"
)

// checkOrigin checks one pattern of upgrade.origins.
func checkOrigin(pattern string) error {
	_, err := ws.CompileOrigins([]string{pattern})
	if option := (*ws.OptionError)(nil); errors.As(err, &option) {
		return fmt.Errorf("%s; allowed are scheme://host and scheme://*.host, each with or without :port or :*, null, file://, and *", option.Detail)
	}
	return err
}

// checkPattern checks one pattern of auth.subscribe or auth.publish.
func checkPattern(pattern string) error {
	if _, err := message.CompilePatterns([]string{pattern}); err != nil {
		return fmt.Errorf("%q; allowed are topics (1 to %d of A-Z a-z 0-9 _ - . : / @, no empty token), topics followed by .*, and *; a whole token may be {uid}", pattern, message.MaxTopicLen)
	}
	return nil
}
