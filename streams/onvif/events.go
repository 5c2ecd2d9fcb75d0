package onvif

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// Type is what a camera has recognised.
type Type string

// The types. Intrusion 入侵 is an object in a field, a line crossed 越线 one that
// passed it.
const (
	Motion       Type = "motion"
	Tamper       Type = "tamper"
	Smoke        Type = "smoke"
	Fire         Type = "fire"
	Intrusion    Type = "intrusion"
	LineCrossing Type = "line_crossing"
)

// Event is what a camera tells of something that it recognises.
type Event struct {
	Type   Type
	Topic  string    // as the camera wrote it
	Source string    // its video source, "" if it names none
	Rule   string    // which of its rules, "" if it names none
	At     time.Time // by our clock, UTC
	On     bool      // it began, or ended
	Once   bool      // it has no end: it is told each time that it happens
}

// topics maps words of topics to types: the first that fits. The first three are ONVIF's
// own (Imaging and Analytics specifications), the others stand in vendors' trees.
var topics = []struct {
	word string
	is   Type
}{
	{"fielddetector", Intrusion},
	{"linedetector", LineCrossing},
	{"cellmotiondetector", Motion},
	{"motionregiondetector", Motion},
	{"motionalarm", Motion},
	{"tamper", Tamper},
	{"globalscenechange", Tamper},
	{"imagetoodark", Tamper},
	{"imagetooblurry", Tamper},
	{"imagetoobright", Tamper},
	{"smoke", Smoke},
	{"firedetect", Fire},
	{"firealarm", Fire},
	{"flame", Fire},
	{"fire/", Fire},
	{"intrusion", Intrusion},
	{"regionentrance", Intrusion},
	{"linecross", LineCrossing},
	{"crossline", LineCrossing},
	{"motion", Motion},
}

// TypeOf gives the type that a topic tells of, false for none.
func TypeOf(topic string) (Type, bool) {
	topic = strings.ToLower(topic) + "/"
	for _, t := range topics {
		if strings.Contains(topic, t.word) {
			return t.is, true
		}
	}
	return "", false
}

// How a subscription is kept.
const (
	lifetime    = time.Minute
	renewBefore = 30 * time.Second
	mostEvents  = 100 // of one answer
	leastPull   = 200 * time.Millisecond
)

// subscription is a pull point.
type subscription struct {
	at      string // pinned
	header  string // reference parameters, which go with every request
	renewed time.Time
}

// Listen tells the camera's events until ctx ends or the camera forgets the
// subscription, which is then an error. told is called by one goroutine. The
// subscription is ended on return, in at most a timeout.
func (c *Client) Listen(ctx context.Context, told func(Event)) error {
	s, err := c.subscribe(ctx)
	if err != nil {
		return err
	}
	defer c.unsubscribe(ctx, s)
	for {
		began := time.Now()
		list, err := c.pull(ctx, s)
		if err != nil {
			return err
		}
		for _, e := range list {
			told(e)
		}
		if time.Since(s.renewed) >= renewBefore {
			if err := c.renew(ctx, s); err != nil && !declined(err) { // PullMessages may do
				return err
			}
			s.renewed = time.Now()
		}
		// A camera that answers at once, although it was to wait, is not asked
		// without a pause.
		pause := time.NewTimer(leastPull - time.Since(began))
		select {
		case <-pause.C:
		case <-ctx.Done():
			pause.Stop()
			return context.Cause(ctx)
		}
	}
}

func (c *Client) subscribe(ctx context.Context) (*subscription, error) {
	at, err := c.service(ctx, nsEvents)
	if err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, request{
		to: at, space: nsEvents, action: nsEvents + "/EventPortType/CreatePullPointSubscriptionRequest",
		body: fmt.Sprintf(`<w:CreatePullPointSubscription><w:InitialTerminationTime>PT%dS</w:InitialTerminationTime></w:CreatePullPointSubscription>`, int(lifetime.Seconds())),
	})
	if err != nil {
		return nil, err
	}
	reference := answer.at("SubscriptionReference")
	s := &subscription{at: c.pin(reference.value("Address"), "http", "https"), renewed: time.Now()}
	if s.at == "" {
		return nil, c.explain(fmt.Errorf("%w: the subscription has no address", errGarbled))
	}
	if parameters := reference.at("ReferenceParameters"); parameters != nil {
		for _, p := range parameters.children {
			s.header += p.reference()
		}
	}
	return s, nil
}

// reference writes a reference parameter as it is sent back, WS-Addressing 1.0, 3.3.
func (e *element) reference() string {
	if e.space == "" || len(e.children) > 0 {
		return ""
	}
	return fmt.Sprintf(`<p:%s xmlns:p="%s" a:IsReferenceParameter="true">%s</p:%[1]s>`, e.name, escape(e.space), escape(clip(e.text, 512)))
}

func (c *Client) pull(ctx context.Context, s *subscription) ([]Event, error) {
	answer, err := c.call(ctx, request{
		to: s.at, space: nsEvents, header: s.header, wait: c.cfg.Pull, action: nsEvents + "/PullPointSubscription/PullMessagesRequest",
		body: fmt.Sprintf(`<w:PullMessages><w:Timeout>PT%dS</w:Timeout><w:MessageLimit>%d</w:MessageLimit></w:PullMessages>`, max(1, int(c.cfg.Pull.Seconds())), mostEvents),
	})
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	offset := c.clock.Offset
	c.mu.Unlock()
	var list []Event
	for _, n := range answer.all("NotificationMessage") {
		if e, ok := eventOf(n, offset, time.Now()); ok && len(list) < mostEvents {
			list = append(list, e)
		}
	}
	return list, nil
}

func (c *Client) renew(ctx context.Context, s *subscription) error {
	_, err := c.call(ctx, request{
		to: s.at, space: nsNotify, header: s.header, action: nsNotify[:len(nsNotify)-len("b-2")] + "bw-2/SubscriptionManager/RenewRequest",
		body: fmt.Sprintf(`<w:Renew><w:TerminationTime>PT%dS</w:TerminationTime></w:Renew>`, int(lifetime.Seconds())),
	})
	return err
}

// unsubscribe frees the pull point: cameras have few.
func (c *Client) unsubscribe(ctx context.Context, s *subscription) {
	_, _ = c.call(context.WithoutCancel(ctx), request{
		to: s.at, space: nsNotify, header: s.header, action: nsNotify[:len(nsNotify)-len("b-2")] + "bw-2/SubscriptionManager/UnsubscribeRequest",
		body: `<w:Unsubscribe/>`,
	})
}

// Bounds of how far an event's time, by the camera's clock mended by its offset,
// is believed.
const (
	mostLate  = 10 * time.Minute
	mostEarly = 5 * time.Second
)

// eventOf reads a notification. ok is false for what this trade has no type for.
func eventOf(n *element, offset time.Duration, now time.Time) (e Event, ok bool) {
	e.Topic = n.value("Topic")
	if e.Type, ok = TypeOf(e.Topic); !ok {
		return e, false
	}
	m := n.at("Message", "Message")
	e.At = now.UTC()
	if at, err := time.Parse(time.RFC3339, m.attr("UtcTime")); err == nil {
		if mended := at.Add(-offset); now.Sub(mended) < mostLate && mended.Sub(now) < mostEarly {
			e.At = mended.UTC()
		}
	}
	for _, item := range m.at("Source").all("SimpleItem") {
		switch name, value := item.attr("Name"), item.attr("Value"); {
		case strings.Contains(name, "Source"): // VideoSourceConfigurationToken, VideoSource, Source
			if e.Source == "" {
				e.Source = value
			}
		case name == "Rule":
			e.Rule = value
		}
	}
	state, told := stateOf(m.at("Data"))
	e.On, e.Once = state || !told, !told
	if m.attr("PropertyOperation") == "Deleted" {
		e.On, e.Once = false, false
	}
	return e, true
}

// stateOf finds whether something holds; told is false where the data are of
// something that has no state, such as who crossed a line.
func stateOf(data *element) (on, told bool) {
	for _, item := range data.all("SimpleItem") {
		switch strings.ToLower(item.attr("Value")) {
		case "true", "active":
			return true, true
		case "false", "inactive":
			return false, true
		case "1":
			if !strings.Contains(strings.ToLower(item.attr("Name")), "id") {
				return true, true
			}
		case "0":
			if !strings.Contains(strings.ToLower(item.attr("Name")), "id") {
				return false, true
			}
		}
	}
	return false, false
}
