package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"belfry/certs"
	"belfry/config"
	"belfry/metrics"
	"belfry/push"
	"belfry/session"
)

// reloader reads the settings again while the node runs. A reload has three steps:
// read and validate everything; make everything that can fail; put it in place, which
// cannot fail. So a fault anywhere changes nothing.
type reloader struct {
	node    *belfry
	load    func() (*config.Loaded, error) // from the same file, environment and flags as at start
	level   zap.AtomicLevel                // of the log
	hangups chan os.Signal

	mu     sync.Mutex    // one reload at a time; guards the fields below
	loaded config.Config // the settings in force as they were loaded, not fitted to this machine
	keys   []config.Key  // the API keys in force, those of api.keys_file included

	shown      atomic.Pointer[[]config.Shown] // the settings in force after a reload; nil before
	ok, failed atomic.Uint64
	last       atomic.Int64 // Unix time of the last reload that was applied
}

// reloadResult is what a reload did: the answer of POST /v1/reload.
type reloadResult struct {
	Applied      []string `json:"applied"`       // settings that changed and are in force
	NeedsRestart []string `json:"needs_restart"` // settings that changed and are not in force
	Unchanged    int      `json:"unchanged"`     // how many settings did not change
	Certificates []string `json:"certificates"`  // sections whose certificates were read from changed files
}

// newReloader takes SIGHUP from now on, so that it never ends the process. A SIGHUP
// before the node runs reloads as soon as it does.
func newReloader(n *belfry, loaded *config.Loaded, load func() (*config.Loaded, error), level zap.AtomicLevel) *reloader {
	r := &reloader{node: n, load: load, level: level, hangups: make(chan os.Signal, 1), loaded: loaded.Config}
	signal.Notify(r.hangups, syscall.SIGHUP)
	return r
}

// run reloads at each SIGHUP until ctx is done; then SIGHUP does nothing. Signals that
// come during a reload lead to one more.
func (r *reloader) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.hangups:
			_, _ = r.reload() // the log has the result
		}
	}
}

// serve reloads for POST /v1/reload.
func (r *reloader) serve() (any, error) {
	result, err := r.reload()
	if err != nil {
		return nil, err
	}
	return result, nil
}

func (r *reloader) reload() (*reloadResult, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.node.notifyReloading()()
	next, err := r.prepare()
	if err != nil {
		r.failed.Add(1)
		r.node.log.Error("the settings were not reloaded: nothing has changed", zap.Error(err))
		return nil, placed(err)
	}
	r.apply(next)
	return &next.result, nil
}

// reloading is a reload that can be applied.
type reloading struct {
	result reloadResult
	loaded config.Config
	keys   []config.Key
	level  zapcore.Level
	shown  []config.Shown
	apply  []func() // none can fail
}

// prepare does everything of a reload that can fail, and changes nothing.
func (r *reloader) prepare() (*reloading, error) {
	read, err := r.load()
	if err != nil {
		return nil, err
	}
	change, err := config.Reload(&r.loaded, read)
	if err != nil {
		return nil, err
	}
	next := &reloading{loaded: change.Config}
	if err := r.prepareKeys(next, change); err != nil {
		return nil, settingsFault(read, "api.keys_file", err)
	}
	inForce := *r.node.cfg // as fitted to this machine
	inForce.TakeLive(&next.loaded)
	allowed, err := origins(&inForce)
	if err != nil {
		return nil, settingsFault(read, "upgrade.origins", err)
	}
	if slices.Contains(change.Applied, "upgrade.origins") {
		next.apply = append(next.apply, func() { r.node.sessions.SetOrigins(allowed) })
	}
	if err := r.prepareSessions(next, change, &inForce); err != nil {
		return nil, settingsFault(read, "auth.publish", err)
	}
	if next.level, err = zapcore.ParseLevel(inForce.Log.Level); err != nil {
		return nil, settingsFault(read, "log.level", err)
	}
	if err := r.prepareGateway(next, change, &inForce); err != nil {
		return nil, settingsFault(read, "gateway.routes", err)
	}
	if err := r.prepareTokens(next, change, &inForce); err != nil {
		return nil, settingsFault(read, settingNamed(err, "auth.jwt.secret"), err)
	}
	if err := r.prepareCerts(next, read); err != nil {
		return nil, err
	}
	next.result.Applied, next.result.NeedsRestart = orEmpty(change.Applied), orEmpty(change.Restart)
	next.result.Unchanged = change.Unchanged
	next.shown = inForce.Show(r.sources(read))
	return next, nil
}

// keySetting says whether a setting has API keys.
func keySetting(path string) bool { return path == "api.keys" || path == "api.keys_file" }

// prepareKeys prepares other API keys. The first key and the last one need a restart:
// an API without keys may listen on loopback only, and checks Host and Origin instead.
func (r *reloader) prepareKeys(next *reloading, change *config.Reloaded) (err error) {
	if next.keys, err = next.loaded.API.AllKeys(); err != nil {
		return err
	}
	if (len(next.keys) == 0) != (len(r.keys) == 0) {
		for _, path := range change.Applied {
			if keySetting(path) {
				change.Restart = append(change.Restart, path)
			}
		}
		change.Applied = slices.DeleteFunc(change.Applied, keySetting)
		next.keys = r.keys
		next.loaded.API.Keys, next.loaded.API.KeysFile = r.loaded.API.Keys, r.loaded.API.KeysFile
		return nil
	}
	if slices.Equal(next.keys, r.keys) {
		return nil
	}
	if !slices.ContainsFunc(change.Applied, keySetting) { // the file has other keys
		change.Applied = append(change.Applied, "api.keys_file")
		change.Unchanged--
	}
	apply, err := r.node.api.PrepareKeys(apiKeys(next.keys))
	next.apply = append(next.apply, apply)
	return err
}

// prepareSessions prepares other limits and permissions of sessions. Without any
// permission to publish at start there is nothing that publishes: the first one needs a
// restart.
func (r *reloader) prepareSessions(next *reloading, change *config.Reloaded, inForce *config.Config) error {
	const publish = "auth.publish"
	if slices.Contains(change.Applied, publish) && !r.node.publishes() {
		change.Applied = slices.DeleteFunc(change.Applied, func(path string) bool { return path == publish })
		change.Restart = append(change.Restart, publish)
		next.loaded.Auth.Publish, inForce.Auth.Publish = r.loaded.Auth.Publish, r.loaded.Auth.Publish
	}
	var o session.Options
	addAdjustable(&o, inForce)
	apply, err := r.node.sessions.Adjust(o)
	next.apply = append(next.apply, apply)
	return err
}

// prepareCerts prepares certificates whose files have changed.
func (r *reloader) prepareCerts(next *reloading, read *config.Loaded) error {
	next.result.Certificates = []string{}
	for _, s := range []struct {
		section string
		store   *certs.Store
	}{{"tls", r.node.clientCerts}, {"api.tls", r.node.apiCerts}} {
		if s.store == nil {
			continue
		}
		apply, err := s.store.Prepare()
		if err != nil {
			return settingsFault(read, s.section+".cert", err)
		}
		if apply != nil {
			next.apply = append(next.apply, apply)
			next.result.Certificates = append(next.result.Certificates, s.section)
		}
	}
	return nil
}

// apply puts everything in place.
func (r *reloader) apply(next *reloading) {
	for _, apply := range next.apply {
		apply()
	}
	r.loaded, r.keys = next.loaded, next.keys
	r.shown.Store(&next.shown)
	r.ok.Add(1)
	r.last.Store(time.Now().Unix())

	r.level.SetLevel(min(r.level.Level(), next.level)) // the line below is written if either level wants it
	write, message := r.node.log.Info, "settings reloaded"
	if len(next.result.NeedsRestart) > 0 {
		write, message = r.node.log.Warn, "settings reloaded; some that changed need a restart"
	}
	write(message, zap.Strings("applied", next.result.Applied), zap.Strings("needs_restart", next.result.NeedsRestart),
		zap.Int("unchanged", next.result.Unchanged), zap.Strings("certificates", next.result.Certificates))
	r.level.SetLevel(next.level)
}

// sources returns the sources of the values in force: of live settings those that were
// read again, of the others those of the start.
func (r *reloader) sources(read *config.Loaded) map[string]config.Source {
	all := map[string]config.Source{}
	for path, source := range r.node.sources {
		if config.EffectOf(path) != config.Live {
			all[path] = source
		}
	}
	for path, source := range read.Sources {
		if config.EffectOf(path) == config.Live {
			all[path] = source
		}
	}
	return all
}

// shown returns the settings in force, for GET /v1/config.
func (n *belfry) shown() []config.Shown {
	if s := n.reload.shown.Load(); s != nil {
		return *s
	}
	return n.cfg.Show(n.sources)
}

// settingsFault returns err as a fault at the place of a setting.
func settingsFault(read *config.Loaded, path string, err error) error {
	return config.Errors{{Source: read.Sources[path], Setting: path, Detail: strings.TrimPrefix(err.Error(), path+": ")}}
}

// placed returns err with the place of its first fault, for the API.
func placed(err error) error {
	var faults config.Errors
	if !errors.As(err, &faults) || len(faults) == 0 {
		return err
	}
	first := faults[0]
	e := &push.SettingsError{Line: first.Source.Line, Column: first.Source.Column, Field: first.Setting}
	if first.Source.Name == "" {
		e.File = first.Source.From
	}
	for i, f := range faults {
		if i > 0 {
			e.Detail += "; "
		}
		line, _, _ := strings.Cut(f.Error(), "\n") // without the line of the file
		e.Detail += line
	}
	return e
}

func (r *reloader) values() metrics.Reload {
	return metrics.Reload{
		Reloads: map[string]uint64{"ok": r.ok.Load(), "failed": r.failed.Load()},
		Last:    uint64(r.last.Load()),
	}
}
