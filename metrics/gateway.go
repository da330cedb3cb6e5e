package metrics

// Gateway counts events and calls to backends. Routes have the names of the
// configuration.
type Gateway struct {
	Calls      map[[2]string]uint64 `metric:"belfry_gateway_calls_total" type:"counter" label:"route,result" help:"Calls to backends, each once with all its tries: ok (2xx), refused (3xx, 4xx), failed (5xx), timeout, error (no connection), too_big (the answer), busy, open (the backend was left alone because it had failed), canceled (shutdown)."`
	Retries    map[string]uint64    `metric:"belfry_gateway_retries_total" type:"counter" label:"route" help:"Tries of calls after the first."`
	Seconds    map[string]Histogram `metric:"belfry_gateway_call_seconds" type:"histogram" label:"route" help:"Time of a call with all its tries."`
	InFlight   map[string]uint64    `metric:"belfry_gateway_calls_in_flight" type:"gauge" label:"route" help:"Calls that run now (in_flight of the route, gateway.in_flight)."`
	Flight     map[string]uint64    `metric:"belfry_gateway_calls_in_flight_bytes" type:"gauge" label:"route" help:"Bytes of the events in these calls (in_flight_bytes of the route)."`
	Waiting    map[string]uint64    `metric:"belfry_gateway_sessions_waiting" type:"gauge" label:"route" help:"Sessions whose next event waits for a call (queue of the route)."`
	Open       map[string]uint64    `metric:"belfry_gateway_backends_open" type:"gauge" label:"route" help:"URLs of the route that are left alone for a while because they have failed (circuit breaker)."`
	Answers    map[[2]string]uint64 `metric:"belfry_gateway_answers_total" type:"counter" label:"route,answer" help:"What became of calls: empty (taken, nothing to send), pushed (the body went to the session), commands (they were carried out), refused (by the backend), failed."`
	Refused    map[[2]string]uint64 `metric:"belfry_gateway_messages_refused_total" type:"counter" label:"route,cause" help:"Messages whose client got an error (a plain client: on_error), by cause; docs/gateway.md lists them."`
	Dropped    map[[3]string]uint64 `metric:"belfry_gateway_events_dropped_total" type:"counter" label:"route,event,cause" help:"Events other than messages that no backend has taken, by cause. Any but refused makes the node degraded for a minute."`
	Unmatched  uint64               `metric:"belfry_gateway_messages_unmatched_total" type:"counter" help:"Messages that no route has taken."`
	Bytes      uint64               `metric:"belfry_gateway_bytes" type:"gauge" help:"Bytes of the events that the node holds for backends (gateway.queue_bytes)."`
	Sessions   uint64               `metric:"belfry_gateway_sessions" type:"gauge" help:"Sessions with events that no backend has answered yet."`
	Paused     uint64               `metric:"belfry_gateway_paused_total" type:"counter" help:"Times that a session was not read because its messages waited for a backend."`
	Commands   map[string]uint64    `metric:"belfry_gateway_commands_total" type:"counter" label:"type" help:"Commands in the answers of backends."`
	CmdsFailed uint64               `metric:"belfry_gateway_commands_failed_total" type:"counter" help:"Commands of backends that could not be carried out; the log says why."`
	Faults     uint64               `metric:"belfry_gateway_faults_total" type:"counter" help:"Faults of belfry caught in the gateway; each cost one event. The log has the stack."`
	Gone       uint64               `metric:"belfry_gateway_gone_sessions" type:"gauge" help:"Sessions of nodes that are gone of which backends are still to be told."`
	KeptCut    uint64               `metric:"belfry_gateway_kept_cut_total" type:"counter" help:"Requests of which headers or cookies were not kept because they were longer than 4 KiB in all."`
}
