package main

import (
	"context"
	"errors"

	"go.uber.org/zap"

	"belfry/config"
)

// run starts a node with resolved settings and returns when ctx is done and
// the node has stopped, or when it could not start.
func run(ctx context.Context, cfg *config.Config, log *zap.Logger) error {
	return errors.New("this build has no engine")
}
