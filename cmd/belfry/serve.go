package main

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"belfry/config"
)

func newServeCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node until SIGTERM or SIGINT",
		Long: `Run a node until SIGTERM or SIGINT; the same signal again ends it at once.

SIGHUP reads the settings again: those that can change while the node runs take
effect, the others are named in the log.

Settings come from flags, then environment variables (such as
BELFRY_SESSION_PING_INTERVAL), then the YAML file. "belfry config print" shows
all of them.`,
		Args: cobra.NoArgs,
	}
	flags := addConfigFlags(cmd.Flags())
	takeover := cmd.Flags().String(takeoverFlag, "", "take over every connection that can move from the process with this control.socket (belfry restart sets it)")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := flags.load(env)
		if err != nil {
			return err
		}
		if *takeover != "" {
			if *takeover, err = filepath.Abs(*takeover); err != nil {
				return err
			}
		}
		return serve(cmd, loaded, func() (*config.Loaded, error) { return flags.load(env) }, *takeover)
	}
	return cmd
}

// serve runs a node until it is told to stop. reload reads the settings again;
// takeover is the control socket of the process to take over from, "" for none. From
// here on nothing waits for standard output or standard error; the error that serve
// returns is written through the log too.
func serve(cmd *cobra.Command, loaded *config.Loaded, reload func() (*config.Loaded, error), takeover string) error {
	stderr, stdout := cmd.ErrOrStderr(), cmd.OutOrStdout()
	if file, ok := stderr.(*os.File); ok {
		stderr = ownPipe(file)
	}
	level := zap.NewAtomicLevel()
	log, lines, err := newLogger(loaded.Log, stderr, level)
	if err != nil {
		return err
	}
	cmd.Root().SetErr(lines)
	zap.RedirectStdLog(log.Named("std")) // log lines of libraries that use package log
	here, err := thisMachine()
	if err != nil {
		return err
	}
	cfg := loaded.Config
	changed := here.resolve(&cfg)
	runtime.GOMAXPROCS(cfg.GOMAXPROCS)
	warn(&cfg, loaded, here, log)
	warnOfLowered(changed, loaded.Sources, log)
	here.limitMemory(&cfg, log)

	n := &belfry{cfg: &cfg, sources: sources(loaded, &cfg), log: log, lines: lines, started: time.Now()}
	n.restart.takeover, n.restart.files = takeover, here.descriptors
	n.reload = newReloader(n, loaded, reload, level)
	ctx := watchSignals(cfg.Shutdown, log, lines, n.restartBySignal)
	tuneGC(ctx)
	banner := newSink(stdout, maxBanner, nil)
	defer banner.Flush(flushTime)
	n.banner = banner
	return n.run(ctx)
}

// maxBanner is more than --dev prints, in bytes.
const maxBanner = 4 << 10

// warn logs warnings about the settings before the node starts.
func warn(cfg *config.Config, loaded *config.Loaded, here machine, log *zap.Logger) {
	if cfg.Dev {
		log.Warn("development mode: user ids and topics are accepted without proof")
	}
	if cfg.Auth.Cookie != "" && cfg.Auth.CookieAnyOrigin {
		log.Warn("every web page that may connect can act in the name of its visitors (auth.cookie_any_origin)", zap.Strings("origins", cfg.Upgrade.Origins))
	}
	warnOfHost(here, cfg, log)
	for _, r := range loaded.Renamed {
		log.Warn("a setting has a new name; the former one will not work in the next version", zap.String("former", r.Was), zap.String("setting", r.Is), zap.Stringer("from", r.Source))
	}
	for _, name := range loaded.Unknown {
		if !platformVariable(name) && name != envPushAPI && name != envAPIKey {
			log.Warn("unknown environment variable: no setting has this name", zap.String("variable", name))
		}
	}
}

// warnOfLowered warns that a value set by the operator is not in force. The
// line "ready" shows what defaults came to.
func warnOfLowered(changed []lowered, origins map[string]config.Source, log *zap.Logger) {
	for _, l := range changed {
		if from, set := origins[l.setting]; set {
			log.Warn("a setting was lowered to what this machine allows",
				zap.String("setting", l.setting), zap.Int("value", l.set), zap.Stringer("from", from), zap.Int("in_force", l.now), zap.String("detail", l.why),
				zap.String("fix", l.fix))
		}
	}
}

// platformVariable says whether Kubernetes sets a variable of that name for a
// service named belfry.
func platformVariable(name string) bool {
	rest := strings.TrimPrefix(name, config.EnvPrefix)
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}
