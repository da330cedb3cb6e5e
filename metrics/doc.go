// Package metrics declares every metric of belfry once, as a field of Values
// with its name, type and help in tags, and serves them to Prometheus. The
// packages that count have the counters; they are copied into a Values for each
// scrape.
package metrics
