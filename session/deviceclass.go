package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"belfry/message"
)

// MaxDeviceClass is the longest name of a device class, in bytes.
const MaxDeviceClass = 32

// CheckDeviceClass returns a *message.FieldError unless name is empty or 1 to
// MaxDeviceClass of A-Z a-z 0-9 _ - and dots.
func CheckDeviceClass(name string) error {
	if len(name) > MaxDeviceClass || strings.ContainsFunc(name, notOfClass) {
		return &message.FieldError{Field: "device_class", Detail: fmt.Sprintf("not a name of a device class: allowed are 1 to %d of A-Z a-z 0-9 _ - and dots", MaxDeviceClass)}
	}
	return nil
}

func notOfClass(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && !strings.ContainsRune("_-.", r)
}

// maxDeviceClasses is how many names of device classes a shard knows. A session with
// another one is counted as a hit of the limit, and has no class. Those of
// Options.MaxPerClass are always known.
const maxDeviceClasses = 255

// deviceClasses are the names of the device classes of a shard's sessions. They are few
// and chosen by the operator, so that none is forgotten. Owned by the shard.
type deviceClasses struct {
	all []deviceClass // a number of a class is its place here, + 1
}

type deviceClass struct {
	name string
	most int // sessions of a user; 0: any number
}

// init enters the classes of Options.MaxPerClass.
func (ds *deviceClasses) init(most map[string]int) {
	for _, name := range slices.Sorted(maps.Keys(most)) {
		ds.all = append(ds.all, deviceClass{name, most[name]})
	}
}

// number returns the number of a class, which may be new, and 0 for "". ok is false if
// there is no room for it.
func (ds *deviceClasses) number(name string) (n uint8, ok bool) {
	if name == "" {
		return 0, true
	}
	for i := range ds.all {
		if ds.all[i].name == name {
			return uint8(i + 1), true
		}
	}
	if len(ds.all) == maxDeviceClasses {
		return 0, false
	}
	ds.all = append(ds.all, deviceClass{name: name})
	return uint8(len(ds.all)), true
}

// name returns the name of a class, "" for 0.
func (ds *deviceClasses) name(n uint8) string {
	if n == 0 {
		return ""
	}
	return ds.all[n-1].name
}

// most returns how many sessions of a class a user may have; 0: any number.
func (ds *deviceClasses) most(n uint8) int {
	if n == 0 {
		return 0
	}
	return ds.all[n-1].most
}

// maxPerClass is how many device classes Options.MaxPerClass may name.
const maxPerClass = 64

// checkPerClass checks Options.MaxPerClass.
func checkPerClass(most map[string]int) error {
	if len(most) > maxPerClass {
		return fmt.Errorf("session: MaxPerClass has %d classes; allowed are up to %d", len(most), maxPerClass)
	}
	for name, n := range most {
		if name == "" || CheckDeviceClass(name) != nil || n < 1 || n > 1<<20 {
			return fmt.Errorf("session: MaxPerClass[%q] is %d; allowed are names of 1 to %d of A-Z a-z 0-9 _ - and dots, and 1 to %d sessions", name, n, MaxDeviceClass, 1<<20)
		}
	}
	return nil
}

// enterClass returns the number of a class for a session that is to have it; 0, and the
// hit of a limit, if there is no room for its name.
func (g *grants) enterClass(name string) uint8 {
	n, ok := g.classes.number(name)
	if !ok {
		g.counters.limit(limitClasses)
	}
	return n
}

// class returns the number of a session's device class, 0 if it has none.
func (g *grants) class(rec *record) uint8 {
	if rec.grant == 0 {
		return 0
	}
	return g.all.At(rec.grant - 1).class
}

// className returns the name of a session's device class, "" if it has none.
func (g *grants) className(rec *record) string { return g.classes.name(g.class(rec)) }
