//go:build race

package broadcast

// raceDetector is set in tests that run under the race detector.
const raceDetector = true
