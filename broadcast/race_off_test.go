//go:build !race

package broadcast

const raceDetector = false
