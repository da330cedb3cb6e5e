package push

import (
	"strings"
	"testing"
	"time"
)

func TestOptionsAreChecked(t *testing.T) {
	pub := &recorder{}
	tests := []struct {
		o    Options
		want string
	}{
		{Options{}, "Publisher"},
		{Options{Publisher: pub, Address: ":8081"}, "no API key"},
		{Options{Publisher: pub, HealthAddress: "x"}, "host:port"},
		{Options{Publisher: pub, Limits: Limits{MaxPayload: -1}}, "MaxPayload is -1; allowed are 1 to 67108864"},
		{Options{Publisher: pub, Limits: Limits{MaxPayload: MaxPayloadLimit + 1}}, "MaxPayload"},
		{Options{Publisher: pub, Limits: Limits{MaxBatchLine: -5}}, "MaxBatchLine is -5"},
		{Options{Publisher: pub, Limits: Limits{ReadTimeout: -time.Second}}, "ReadTimeout is -1s; allowed are 1ms to 24h"},
		{Options{Publisher: pub, Limits: Limits{IdleTimeout: 25 * time.Hour}}, "IdleTimeout"},
	}
	for _, tt := range tests {
		if _, err := New(tt.o); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
	l := Limits{MaxPayload: MaxPayloadLimit}
	if err := l.fill(); err != nil || l.MaxBatchLine <= 6*MaxPayloadLimit {
		t.Errorf("%+v %v", l, err)
	}
	l = Limits{}
	if err := l.fill(); err != nil || l.MaxPayload != 65536 || l.MaxBatchLine != 458752 || l.ReadHeaderTimeout != 5*time.Second {
		t.Errorf("%+v %v", l, err)
	}
	// The health address need not be loopback: its routes never need a key.
	if _, err := New(Options{Publisher: pub, HealthAddress: ":9100"}); err != nil {
		t.Error(err)
	}
}
