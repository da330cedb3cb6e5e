package main

import (
	"context"
	"os/signal"
	"runtime"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"belfry/config"
)

func newServeCommand(env []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run a node until SIGTERM or SIGINT",
		Long: `Run a node until SIGTERM or SIGINT; the same signal again ends it at once.

Settings come from flags, then variables (BELFRY_SESSION_PING_INTERVAL), then
the YAML file. "belfry config print" shows all of them.`,
		Args: cobra.NoArgs,
	}
	flags := addConfigFlags(cmd.Flags())
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := flags.load(env)
		if err != nil {
			return err
		}
		log, err := newLogger(loaded.Log, cmd.ErrOrStderr())
		if err != nil {
			return err
		}
		return serve(loaded, log)
	}
	return cmd
}

// serve runs a node until it is told to stop.
func serve(loaded *config.Loaded, log *zap.Logger) error {
	here, err := thisMachine()
	if err != nil {
		return err
	}
	cfg := loaded.Config
	here.resolve(&cfg)
	runtime.GOMAXPROCS(cfg.GOMAXPROCS)
	warn(&cfg, loaded.Unknown, here, log)

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	context.AfterFunc(ctx, stop) // the second signal then has its usual effect
	paceGC(ctx)
	return run(ctx, &cfg, log)
}

// warn logs what an operator should know about the settings before the node
// starts with them.
func warn(cfg *config.Config, unknown []string, here machine, log *zap.Logger) {
	if cfg.Dev {
		log.Warn("development mode: user ids and topics are accepted without proof")
	}
	warnOfHost(here, cfg, log)
	for _, name := range unknown {
		if !platformVariable(name) && name != envPushAPI && name != envAPIKey {
			log.Warn("no setting has this variable", zap.String("variable", name))
		}
	}
}

// platformVariable says whether Kubernetes sets a variable of that name for a
// service named belfry.
func platformVariable(name string) bool {
	rest := strings.TrimPrefix(name, config.EnvPrefix)
	return rest == "PORT" || strings.HasPrefix(rest, "PORT_") || strings.HasPrefix(rest, "SERVICE_")
}
