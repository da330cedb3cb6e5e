package metrics

// Reload counts how often the settings were read again.
type Reload struct {
	Reloads map[string]uint64 `metric:"belfry_reloads_total" type:"counter" label:"result" help:"Reloads (SIGHUP, POST /v1/reload): ok were applied, failed changed nothing."`
	Last    uint64            `metric:"belfry_last_reload_timestamp_seconds" type:"gauge" help:"When a reload was last applied, in Unix time; 0: not since the start."`
}
