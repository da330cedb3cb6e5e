//go:build !race

package session

// raceDetector says that everything takes some ten times as long.
const raceDetector = false
