package push

import (
	"strings"
	"testing"
)

func TestCheckAddress(t *testing.T) {
	tests := []struct {
		addr string
		keys int
		want string // part of the error; "" for none
	}{
		{"127.0.0.1:8081", 0, ""},
		{"127.9.9.9:0", 0, ""},
		{"[::1]:8081", 0, ""},
		{"[::ffff:127.0.0.1]:8081", 0, ""},
		{"localhost:8081", 0, ""},
		{":8081", 0, "no API key"},
		{"0.0.0.0:8081", 0, "no API key"},
		{"[::]:8081", 0, "no API key"},
		{"192.168.1.1:8081", 0, "no API key"},
		{"belfry.example:8081", 0, "no API key"},
		{"localhost.example:8081", 0, "no API key"},
		{":8081", 1, ""},
		{"0.0.0.0:8081", 2, ""},
		{"8081", 1, "host:port"},
		{"127.0.0.1", 0, "host:port"},
		{"127.0.0.1:http", 0, "0 to 65535"},
		{"127.0.0.1:65536", 1, "0 to 65535"},
	}
	for _, tt := range tests {
		err := CheckAddress(tt.addr, tt.keys)
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s with %d keys: %v, want %q", tt.addr, tt.keys, err, tt.want)
		}
	}
}
