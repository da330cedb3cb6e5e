//go:build !race

package poller

// raceDetector says that everything takes some ten times as long.
const raceDetector = false
