package config

import (
	"fmt"
	"strconv"
	"strings"
)

// maxUserClasses limits the entries of session.max_per_user_class.
const maxUserClasses = 64

// PerUserClass returns the limits of session.max_per_user_class by class, without those
// that are 0. The setting was validated.
func (s *Session) PerUserClass() map[string]int {
	most := make(map[string]int)
	for _, text := range s.MaxPerUserClass {
		if class, n, err := parseUserClass(text); err == nil && n > 0 {
			most[class] = n
		}
	}
	return most
}

// parseUserClass reads an entry like phone:1.
func parseUserClass(text string) (class string, n int, err error) {
	class, number, ok := strings.Cut(text, ":")
	if !ok || class == "" || len(class) > 32 || strings.ContainsFunc(class, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r)
	}) {
		return "", 0, fmt.Errorf("%.40q is not a device class and a number, like phone:1; a class is 1 to 32 of A-Z a-z 0-9 _ - and dots", text)
	}
	if n, err = strconv.Atoi(strings.TrimSpace(number)); err != nil || n < 0 || n > 1<<20 {
		return "", 0, fmt.Errorf("%.40q: allowed are 0 (no limit) to %d sessions", text, 1<<20)
	}
	return class, n, nil
}

func (c *Config) checkUserClasses(k *checks) {
	const setting = "session.max_per_user_class"
	all := c.Session.MaxPerUserClass
	if len(all) > maxUserClasses {
		k.fail(setting, "%d classes; allowed are up to %d", len(all), maxUserClasses)
	}
	seen := map[string]bool{}
	for _, text := range all {
		class, _, err := parseUserClass(text)
		k.when(setting, err)
		if err == nil && seen[class] {
			k.fail(setting, "%s is named twice; allowed is each class once", class)
		}
		seen[class] = true
	}
}
