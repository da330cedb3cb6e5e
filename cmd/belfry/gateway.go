package main

import (
	"context"
	"reflect"
	"slices"

	"go.uber.org/zap"

	"belfry/config"
	"belfry/gateway"
	"belfry/message"
	"belfry/metrics"
	"belfry/webhook"
	"belfry/wire/v1"
)

// openGateway makes the gateway if there are routes.
func (n *belfry) openGateway() error {
	if len(n.cfg.Gateway.Routes) == 0 {
		return nil
	}
	o, made, err := n.gatewayOptions(n.cfg)
	if err != nil {
		return err
	}
	n.routes = made
	n.gateway, err = gateway.New(o)
	return err
}

// routeMade is a route of the gateway, and the settings that it was made of.
type routeMade struct {
	from    config.GatewayRoute
	keys    []config.Secret
	message config.Size // session.max_message
	route   gateway.Route
}

func (n *belfry) startGateway() {
	if n.gateway != nil {
		n.gateway.Start(n.sessions)
		n.gone.start()
	}
}

// stopGateway tells backends of the sessions that have ended, for as long as
// gateway.drain_time allows. ctx ends with shutdown.grace.
func (n *belfry) stopGateway(ctx context.Context) {
	if n.gateway == nil {
		return
	}
	drain, cancel := context.WithTimeout(ctx, n.cfg.Gateway.DrainTime)
	defer cancel()
	half, cancelHalf := context.WithTimeout(ctx, n.cfg.Gateway.DrainTime/2)
	n.gone.flush(half)
	cancelHalf()
	if dropped := n.gateway.Shutdown(drain); dropped > 0 {
		n.log.Warn("backends were not told of all events", zap.Int("events", dropped))
	}
	n.gone.close()
}

// gatewayOptions returns the options for settings, and the routes that they have. A route
// that was made of the same settings before is taken again, with its backend.
func (n *belfry) gatewayOptions(cfg *config.Config) (gateway.Options, map[string]routeMade, error) {
	c := &cfg.Gateway
	o := gateway.Options{
		Node:         n.cfg.Node.Name,
		NodeID:       n.bus.NodeID(),
		Publisher:    backendPublisher{n, message.Wait{Time: n.cfg.API.PushWait}},
		InFlight:     c.InFlight,
		QueueBytes:   int64(c.QueueBytes),
		SessionQueue: c.SessionQueue,
		SessionBytes: int64(c.SessionBytes),
		RetryMax:     c.RetryMax,
		Gate:         n.calling,
		Log:          n.log.Named("gateway"),
	}
	made := map[string]routeMade{}
	var keys []webhook.Key
	for _, text := range c.SigningKeys {
		key, err := webhook.ParseKey(text.Reveal())
		if err != nil {
			return o, nil, err
		}
		keys = append(keys, key)
	}
	for i := range c.Routes {
		name := c.Routes[i].Name
		next := routeMade{from: c.Routes[i], keys: c.SigningKeys, message: cfg.Session.MaxMessage, route: n.routes[name].route}
		if !reflect.DeepEqual(next, n.routes[name]) {
			var err error
			if next.route, err = n.gatewayRoute(&c.Routes[i], cfg, keys); err != nil {
				return o, nil, err
			}
		}
		made[name] = next
		o.Routes = append(o.Routes, next.route)
	}
	return o, made, nil
}

func (n *belfry) gatewayRoute(r *config.GatewayRoute, cfg *config.Config, keys []webhook.Key) (gateway.Route, error) {
	backend, err := webhook.New(webhook.Options{
		Name:      r.Name,
		URLs:      r.Backends(),
		Timeout:   r.Timeout,
		MaxAnswer: int(r.MaxAnswer),
		InFlight:  r.InFlight,
		// The gateway bounds these bytes; a single larger event may go alone.
		InFlightBytes: int64(r.InFlightBytes) + int64(cfg.Session.MaxMessage),
		Retries:       r.Retries,
		Gate:          n.calling,
		Keys:          keys,
		Log:           n.log.Named("gateway"),
	})
	if err != nil {
		return gateway.Route{}, err
	}
	route := gateway.Route{
		Name:          r.Name,
		Backend:       backend,
		Path:          r.Path,
		Subprotocol:   r.Subprotocol,
		Match:         gateway.Match{UID: r.Match.UID, Topic: r.Match.Topic, Event: r.Match.Event, Field: r.Match.Field, Value: r.Match.Value},
		Idempotent:    r.Idempotent,
		AtLeastOnce:   r.Delivery == "at_least_once",
		InFlight:      r.InFlight,
		InFlightBytes: int64(r.InFlightBytes),
		Queue:         r.Queue,
		Headers:       r.Headers,
		Cookies:       r.Cookies,
	}
	for _, name := range r.Events {
		kind, err := gateway.ParseKind(name)
		if err != nil {
			return route, err
		}
		route.Events = append(route.Events, kind)
	}
	route.OnError, err = gateway.ParseOnError(r.OnError)
	return route, err
}

// gatewayPaths returns the paths of routes that no other setting serves.
func gatewayPaths(c *config.Config) (paths []string) {
	for i := range c.Gateway.Routes {
		if p := c.Gateway.Routes[i].Path; p != "" && p != c.Path && p != c.SSE.Path && !slices.Contains(paths, p) {
			paths = append(paths, p)
		}
	}
	return paths
}

// gatewaySubprotocols returns the subprotocols of routes that are spoken as no
// subprotocol.
func gatewaySubprotocols(c *config.Config) (names []string) {
	for i := range c.Gateway.Routes {
		if s := c.Gateway.Routes[i].Subprotocol; s != "" && s != v1.Name && !slices.Contains(names, s) {
			names = append(names, s)
		}
	}
	return names
}

// backendPublisher publishes what backends answer. Like a push over HTTP it waits
// for busy shards.
type backendPublisher struct {
	*belfry
	wait message.Wait
}

// Publish implements gateway.Publisher.
func (p backendPublisher) Publish(m *message.Message) error {
	return p.restart.heir.publish(m, p.wait, func(m *message.Message, w message.Wait) error {
		_, err := p.bus.PublishWithin(context.Background(), m, w)
		return err
	})
}

// gatewayValues returns the metrics of the gateway, and adds its limits to limits.
func (n *belfry) gatewayValues(limits map[string]uint64) (v metrics.Gateway) {
	var st gateway.Stats
	if n.gateway != nil {
		st = n.gateway.Stats()
	}
	limits["gateway.session_queue"] += st.OverQueue
	limits["gateway.session_bytes"] += st.OverBytes
	limits["gateway.queue_bytes"] += st.NodeBytes
	v = metrics.Gateway{
		Unmatched: st.Unmatched, Bytes: uint64(max(st.Bytes, 0)), Sessions: uint64(st.Queues), Paused: st.Paused,
		Commands: st.Commands, CmdsFailed: st.CommandsFailed, KeptCut: st.KeptCut, Gone: n.gone.waiting(), Faults: st.Faults,
		Calls: map[[2]string]uint64{}, Retries: map[string]uint64{}, Seconds: map[string]metrics.Histogram{},
		InFlight: map[string]uint64{}, Flight: map[string]uint64{}, Waiting: map[string]uint64{}, Open: map[string]uint64{},
		Answers: map[[2]string]uint64{}, Refused: map[[2]string]uint64{}, Dropped: map[[3]string]uint64{},
	}
	for i := range st.Routes {
		addRoute(&v, &st.Routes[i])
	}
	return v
}

func addRoute(v *metrics.Gateway, r *gateway.RouteStats) {
	for result, count := range r.Backend.Calls {
		v.Calls[[2]string{r.Name, result}] = count
	}
	v.Retries[r.Name] = r.Backend.Retries
	v.Seconds[r.Name] = metrics.Histogram(r.Backend.Latency)
	v.InFlight[r.Name] = uint64(r.InFlight)
	v.Flight[r.Name] = uint64(r.Bytes)
	v.Waiting[r.Name] = uint64(r.Waiting)
	v.Open[r.Name] = uint64(r.Backend.Open)
	for answer, count := range r.Results {
		v.Answers[[2]string{r.Name, answer}] = count
	}
	for why, count := range r.Refused {
		v.Refused[[2]string{r.Name, why}] = count
	}
	for event, count := range r.Dropped {
		v.Dropped[[3]string{r.Name, event[0], event[1]}] = count
	}
}
