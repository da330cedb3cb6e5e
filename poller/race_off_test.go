//go:build !race

package poller

// raceDetector says whether everything takes about ten times as long.
const raceDetector = false
