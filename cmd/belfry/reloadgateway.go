package main

import (
	"slices"
	"strings"

	"belfry/config"
)

// prepareGateway prepares other routes and limits of the gateway. The first routes need a
// restart, because sessions without a gateway keep no route, and so do routes for a path
// or a subprotocol that is not served yet.
func (r *reloader) prepareGateway(next *reloading, change *config.Reloaded, inForce *config.Config) error {
	const routes = "gateway.routes"
	if slices.Contains(change.Applied, routes) && !r.serves(inForce) {
		change.Applied = slices.DeleteFunc(change.Applied, func(path string) bool { return path == routes })
		change.Restart = append(change.Restart, routes)
		next.loaded.Gateway.Routes, inForce.Gateway.Routes = r.loaded.Gateway.Routes, r.loaded.Gateway.Routes
	}
	if r.node.gateway == nil || !slices.ContainsFunc(change.Applied, func(path string) bool {
		return strings.HasPrefix(path, "gateway.") || path == "session.max_message"
	}) {
		return nil
	}
	o, made, err := r.node.gatewayOptions(inForce)
	if err != nil {
		return err
	}
	apply, err := r.node.gateway.Prepare(o)
	next.apply = append(next.apply, apply, func() { r.node.routes = made })
	return err
}

// serves says whether the node has a gateway, and serves the paths and subprotocols of
// the routes in c.
func (r *reloader) serves(c *config.Config) bool {
	missing := func(want, have []string) bool {
		return slices.ContainsFunc(want, func(one string) bool { return !slices.Contains(have, one) })
	}
	return r.node.gateway != nil && !missing(gatewayPaths(c), gatewayPaths(r.node.cfg)) && !missing(gatewaySubprotocols(c), gatewaySubprotocols(r.node.cfg))
}
