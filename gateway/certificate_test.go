package gateway_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	"offsite/gateway"
)

func TestCertificateIsShownToWhoeverAsks(t *testing.T) {
	t.Parallel()
	b := open(t)
	for _, tt := range []struct {
		name   string
		cfg    gateway.Config
		status int
	}{
		{"HTTPS", gateway.Config{Listen: "127.0.0.1:0"}, http.StatusOK},
		{"plain HTTP alone", gateway.Config{HTTP: "127.0.0.1:0"}, http.StatusNoContent},
	} {
		t.Run(tt.name, func(t *testing.T) {
			parts := b.parts()
			parts.State = t.TempDir()
			s, err := gateway.Open(tt.cfg, parts)
			if err != nil {
				t.Fatal(err)
			}
			w := httptest.NewRecorder()
			s.Handler().ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/certificate.crt", nil))
			if w.Code != tt.status {
				t.Fatalf("status %d, want %d", w.Code, tt.status)
			}
			if tt.status == http.StatusNoContent {
				return
			}
			block, _ := pem.Decode(w.Body.Bytes())
			if block == nil {
				t.Fatalf("no PEM: %s", w.Body)
			}
			sum := sha256.Sum256(block.Bytes)
			if got := w.Header().Get("X-Certificate-Sha256"); got != hex.EncodeToString(sum[:]) || got != s.Fingerprint() {
				t.Errorf("fingerprint %q, want %x, which the gateway prints as %q", got, sum, s.Fingerprint())
			}
		})
	}
}
