package publish

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// GetMetric reads one series of a server that has /metrics at host:port, such as
// belfry_sessions or belfry_webhook_in_flight{webhook="connect"}.
func GetMetric(ctx context.Context, timeout time.Duration, api, series string) (float64, error) {
	body, err := Get(ctx, timeout, "http://"+api+"/metrics")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(body)) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strconv.ParseFloat(strings.TrimSpace(value), 64)
		}
	}
	return 0, fmt.Errorf("GET /metrics: no %s", series)
}
