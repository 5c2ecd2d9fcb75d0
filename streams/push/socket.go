package push

import (
	"context"
	"errors"
	"net"
	"net/netip"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
)

// socket is the UDP socket of one publication. It neither sends to nor hears
// addresses to which pictures may not go, whatever was negotiated: a receiver
// that knocks from elsewhere is not let in.
type socket struct {
	net.PacketConn
	may func(netip.Addr) bool
}

// listen opens a socket on every address of the machine, and the mux by which ICE
// uses it. close closes both.
func listen(ctx context.Context, may func(netip.Addr) bool, log logging.LoggerFactory) (mux ice.UDPMux, closes func() error, err error) {
	conn, err := new(net.ListenConfig).ListenPacket(ctx, "udp", ":0")
	if err != nil {
		return nil, nil, err
	}
	m := ice.NewUDPMuxDefault(ice.UDPMuxParams{UDPConn: socket{conn, may}, Logger: log.NewLogger("ice")})
	return m, func() error { return errors.Join(m.Close(), conn.Close()) }, nil
}

// ReadFrom gives the next packet from an allowed address.
func (s socket) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := s.PacketConn.ReadFrom(b)
		if err != nil || s.allows(from) {
			return n, from, err
		}
	}
}

// WriteTo sends to an allowed address; what is for another is dropped, as a
// network may do.
func (s socket) WriteTo(b []byte, to net.Addr) (int, error) {
	if !s.allows(to) {
		return len(b), nil
	}
	return s.PacketConn.WriteTo(b, to)
}

func (s socket) allows(addr net.Addr) bool {
	udp, ok := addr.(*net.UDPAddr)
	return ok && s.may(udp.AddrPort().Addr().Unmap().WithZone(""))
}
