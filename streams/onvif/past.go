package onvif

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Recording is what a recorder keeps of one of its sources.
type Recording struct {
	Token    string
	Name     string    // of its source
	Source   string    // id of its source, as far as the recorder tells
	From, To time.Time // by the recorder's clock; zero where it does not say
}

// Stretch is a time of which a recorder keeps pictures, by its own clock.
type Stretch struct{ From, To time.Time }

// Bounds of a search.
const (
	mostRecordings = 512
	mostChanges    = 4000 // of what is kept
	mostAnswers    = 24   // that one search is asked for
	searchWait     = 2 * time.Second
)

// Recordings asks for what a recorder keeps (ONVIF Recording Search, FindRecordings).
func (c *Client) Recordings(ctx context.Context) ([]Recording, error) {
	body := `<w:Scope/><w:MaxMatches>` + strconv.Itoa(mostRecordings) + `</w:MaxMatches>`
	found, err := c.search(ctx, "FindRecordings", body, "GetRecordingSearchResults", "RecordingInformation", mostRecordings)
	if err != nil {
		return nil, err
	}
	list := make([]Recording, 0, len(found))
	for _, e := range found {
		r := Recording{Token: e.value("RecordingToken"), Name: e.value("Source", "Name"), Source: e.value("Source", "SourceId")}
		r.From, r.To = momentOf(e.value("EarliestRecording")), momentOf(e.value("LatestRecording"))
		if r.Token != "" {
			list = append(list, r)
		}
	}
	return list, nil
}

// RecordingOf gives the recording of a video source; places are the tokens of all video sources in
// the device's order. Recorders name sources as they please: the id is looked for, then the
// token, then the place where there are as many recordings as sources. It is nil where none fits.
func RecordingOf(list []Recording, source string, places []string) *Recording {
	if source == "" && len(places) > 0 {
		source = places[0]
	}
	fits := func(fit func(*Recording) bool) *Recording {
		if i := slices.IndexFunc(list, func(r Recording) bool { return fit(&r) }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	if source != "" {
		for _, fit := range []func(*Recording) bool{
			func(r *Recording) bool { return r.Source == source },
			func(r *Recording) bool { return strings.HasSuffix(r.Source, "/"+source) },
			func(r *Recording) bool { return r.Token == source },
		} {
			if r := fits(fit); r != nil {
				return r
			}
		}
	}
	if at := slices.Index(places, source); at >= 0 && len(list) == len(places) {
		return &list[at]
	}
	if len(list) == 1 && len(places) <= 1 {
		return &list[0]
	}
	return nil
}

// Kept asks of which times between from and to a recording has pictures, oldest first (ONVIF
// Recording Search, FindEvents of RecordingHistory). A recorder that tells no history is believed
// that it has everything between its first and its last picture.
func (c *Client) Kept(ctx context.Context, r Recording, from, to time.Time) ([]Stretch, error) {
	body := `<w:StartPoint>` + stamp(from) + `</w:StartPoint><w:EndPoint>` + stamp(to) + `</w:EndPoint>` +
		`<w:Scope><tt:IncludedRecordings>` + escape(r.Token) + `</tt:IncludedRecordings></w:Scope>` +
		`<w:SearchFilter><n:TopicExpression xmlns:n="` + nsNotify + `" xmlns:tns1="http://www.onvif.org/ver10/topics" Dialect="http://www.onvif.org/ver10/tev/topicExpression/ConcreteSet">tns1:RecordingHistory/Track/State</n:TopicExpression></w:SearchFilter>` +
		`<w:IncludeStartState>true</w:IncludeStartState><w:MaxMatches>` + strconv.Itoa(mostChanges) + `</w:MaxMatches>`
	found, err := c.search(ctx, "FindEvents", body, "GetEventSearchResults", "Result", mostChanges)
	if err != nil && !declined(err) {
		return nil, err
	}
	if changes := changesOf(found, r.Token); len(changes) > 0 {
		return stretches(changes, from, to), nil
	}
	if r.From.IsZero() || r.To.IsZero() {
		return nil, nil
	}
	return within([]Stretch{{r.From, r.To}}, from, to), nil
}

// ReplayURL gives the pinned RTSP address at which a recording is replayed.
func (c *Client) ReplayURL(ctx context.Context, recording string) (string, error) {
	at, err := c.service(ctx, nsReplay)
	if err != nil {
		return "", err
	}
	answer, err := c.call(ctx, request{to: at, space: nsReplay, body: `<w:GetReplayUri><w:StreamSetup><tt:Stream>RTP-Unicast</tt:Stream><tt:Transport><tt:Protocol>RTSP</tt:Protocol></tt:Transport></w:StreamSetup><w:RecordingToken>` + escape(recording) + `</w:RecordingToken></w:GetReplayUri>`})
	if err != nil {
		return "", err
	}
	if url := c.pin(answer.find("Uri").value(), "rtsp", "rtsps"); url != "" {
		return url, nil
	}
	return "", unsupported()
}

// search begins a search, takes its results until it is complete, and ends it.
func (c *Client) search(ctx context.Context, begin, body, results, name string, most int) ([]*element, error) {
	at, err := c.service(ctx, nsSearch)
	if err != nil {
		return nil, err
	}
	answer, err := c.call(ctx, request{to: at, space: nsSearch, body: `<w:` + begin + `>` + body + `<w:KeepAliveTime>PT20S</w:KeepAliveTime></w:` + begin + `>`})
	if err != nil {
		return nil, err
	}
	token := `<w:SearchToken>` + escape(answer.value("SearchToken")) + `</w:SearchToken>`
	defer func() { // it would end by itself; a failure changes nothing
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.Timeout)
		defer cancel()
		_, _ = c.call(ctx, request{to: at, space: nsSearch, body: `<w:EndSearch>` + token + `</w:EndSearch>`})
	}()
	var list []*element
	for range mostAnswers {
		wait := fmt.Sprintf("<w:WaitTime>PT%dS</w:WaitTime>", int(searchWait.Seconds()))
		answer, err := c.call(ctx, request{to: at, space: nsSearch, body: `<w:` + results + `>` + token + `<w:MinResults>1</w:MinResults><w:MaxResults>200</w:MaxResults>` + wait + `</w:` + results + `>`, wait: searchWait})
		if err != nil {
			return nil, err
		}
		part := answer.at("ResultList").all(name)
		list = append(list, part[:min(len(part), most-len(list))]...)
		if answer.value("ResultList", "SearchState") == "Completed" || len(list) >= most {
			break
		}
	}
	return list, nil
}

// change is that a track has pictures from a time on, or has none any more.
type change struct {
	track   string
	at      time.Time
	present bool
}

func changesOf(found []*element, recording string) []change {
	var list []change
	for _, e := range found {
		if token := e.value("RecordingToken"); token != "" && token != recording {
			continue
		}
		for _, item := range e.find("Data").all("SimpleItem") {
			at := momentOf(e.value("Time"))
			if item.attr("Name") == "IsDataPresent" && !at.IsZero() {
				list = append(list, change{e.value("TrackToken"), at, item.attr("Value") == "true" || item.attr("Value") == "1"})
			}
		}
	}
	slices.SortStableFunc(list, func(a, b change) int { return a.at.Compare(b.at) })
	return list
}

// stretches joins the times of all tracks.
func stretches(changes []change, from, to time.Time) []Stretch {
	since := map[string]time.Time{}
	var list []Stretch
	for _, c := range changes {
		begun, open := since[c.track]
		switch {
		case c.present && !open:
			since[c.track] = c.at
		case !c.present && open:
			list = append(list, Stretch{begun, c.at})
			delete(since, c.track)
		}
	}
	for _, begun := range since {
		list = append(list, Stretch{begun, to})
	}
	return within(list, from, to)
}

// within sorts and joins stretches and cuts them to an interval.
func within(list []Stretch, from, to time.Time) []Stretch {
	slices.SortFunc(list, func(a, b Stretch) int { return a.From.Compare(b.From) })
	var out []Stretch
	for _, s := range list {
		if s.From.Before(from) {
			s.From = from
		}
		if s.To.After(to) {
			s.To = to
		}
		if !s.From.Before(s.To) {
			continue
		}
		if n := len(out); n > 0 && !s.From.After(out[n-1].To) {
			if s.To.After(out[n-1].To) {
				out[n-1].To = s.To
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// momentOf reads a time; one without a zone is in UTC. It is zero for what is none.
func momentOf(text string) time.Time {
	for _, form := range []string{time.RFC3339, "2006-01-02T15:04:05"} {
		if t, err := time.Parse(form, text); err == nil && t.Year() >= 1990 && t.Year() < 2200 {
			return t.UTC()
		}
	}
	return time.Time{}
}
