package push_test

import (
	"io"
	"net"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
)

// tcpMux listens for pictures by TCP on loopback.
func tcpMux() (ice.TCPMux, io.Closer, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	quiet := &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled}
	mux := ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: ln, Logger: quiet.NewLogger("ice"), ReadBufferSize: 32})
	return mux, mux, nil
}
