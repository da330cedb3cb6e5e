//go:build race

package cluster

// raceDetector is set in tests that run under the race detector.
const raceDetector = true
