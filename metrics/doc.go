// Package metrics declares every metric of belfry once, as a field of Values
// with its name, type and help in tags, and serves them to Prometheus. The
// counters themselves live with whoever counts; they are copied into a Values
// when somebody scrapes.
package metrics
