package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"

	"go.uber.org/zap"

	"belfry/config"
)

// watchSignals ends the context with the first SIGTERM or SIGINT and the
// process with the second. From the first on the process has as long as the
// section shutdown allows, whatever hangs.
func watchSignals(c config.Shutdown, log *zap.Logger, out *sink) context.Context {
	// A write to a closed pipe at standard output or standard error would end
	// the process (os/signal, SIGPIPE); it is an error like any other here.
	signal.Ignore(syscall.SIGPIPE)
	ctx, stop := context.WithCancel(context.Background())
	told := make(chan os.Signal, 8)
	signal.Notify(told, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	go func() {
		for sig := range told {
			switch {
			case sig == syscall.SIGHUP:
				log.Info("SIGHUP is ignored: settings are read at the start only, restart for new ones")
			case ctx.Err() == nil:
				time.AfterFunc(c.Delay+c.Grace+deadlineSlack, func() { exitNow(log, out) })
				stop()
			default:
				exitBySignal(sig.(syscall.Signal))
			}
		}
	}()
	return ctx
}

// flushTime is how long the process waits for its log to be written before it
// ends.
const flushTime = time.Second

// exitNow ends the process. Neither the log nor anything else can keep it.
func exitNow(log *zap.Logger, out *sink) {
	time.AfterFunc(flushTime, func() { os.Exit(exitFailed) })
	log.Error("shutdown.grace has passed: exiting now")
	out.Flush(flushTime)
	os.Exit(exitFailed)
}

// exitBySignal ends the process as the signal does by itself, so that its parent sees
// which it was.
func exitBySignal(sig syscall.Signal) {
	time.AfterFunc(flushTime, func() { os.Exit(exitFailed) })
	signal.Reset(sig)
	_ = syscall.Kill(os.Getpid(), sig)
}
