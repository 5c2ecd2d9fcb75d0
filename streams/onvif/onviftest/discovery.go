package onviftest

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/url"
)

// Answer answers WS-Discovery probes that come by conn until ctx ends, and closes
// it. tweak changes each answer before it is sent, nil not.
func (d *Device) Answer(ctx context.Context, conn *net.UDPConn, tweak func(answer string) string) error {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer func() {
		stop()
		_ = conn.Close()
	}()
	buffer := make([]byte, 16<<10)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buffer)
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("onvif device: %w", err)
		}
		var probe node
		if xml.Unmarshal(buffer[:n], &probe) != nil || probe.find("Probe") == nil {
			continue
		}
		answer := d.match(probe.text("MessageID"))
		if tweak != nil {
			answer = tweak(answer)
		}
		_, _ = conn.WriteToUDPAddrPort([]byte(answer), from)
	}
}

// match is the answer to the probe of an id.
func (d *Device) match(id string) string {
	name := url.PathEscape(d.cfg.Name)
	return `<?xml version="1.0" encoding="utf-8"?><SOAP-ENV:Envelope xmlns:SOAP-ENV="http://www.w3.org/2003/05/soap-envelope" xmlns:wsa="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery"><SOAP-ENV:Header><wsa:RelatesTo>` + id +
		`</wsa:RelatesTo><wsa:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/ProbeMatches</wsa:Action></SOAP-ENV:Header><SOAP-ENV:Body><d:ProbeMatches><d:ProbeMatch><wsa:EndpointReference><wsa:Address>urn:uuid:11111111-2222-3333-4444-555555555555</wsa:Address></wsa:EndpointReference><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder onvif://www.onvif.org/name/` + name +
		` onvif://www.onvif.org/hardware/DOME-1 onvif://www.onvif.org/location/</d:Scopes><d:XAddrs>http://[fe80::1]/onvif/device_service ` + d.service("device_service") + `</d:XAddrs><d:MetadataVersion>1</d:MetadataVersion></d:ProbeMatch></d:ProbeMatches></SOAP-ENV:Body></SOAP-ENV:Envelope>`
}
