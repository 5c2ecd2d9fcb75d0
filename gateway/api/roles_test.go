package api

import (
	"testing"

	"offsite/gateway/api/contract"
)

// TestAllows asks for roles by an operation's id, as RTSP does.
func TestAllows(t *testing.T) {
	tests := []struct {
		name, operation string
		role            contract.Role
		want            bool
	}{
		{"named", "viewLive", contract.Viewer, true},
		{"not named", "createCamera", contract.Viewer, false},
		{"unknown role", "viewLive", "guest", false},
		{"unknown operation", "viewLiveAndMore", contract.Administrator, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := Allows(tt.operation, tt.role); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
