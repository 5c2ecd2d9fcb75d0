package onviftest

import (
	"fmt"
	"strings"
	"time"
)

// Recording is what the device keeps of a source, as times from and to, by its own clock.
type Recording struct {
	Token, Source, Name string
	Held                [][2]time.Time
	Replay              string // path and query of its RTSP address
}

// past carries out what is asked of recordings. The token of a search says what was searched.
func (d *Device) past(action string, q *node) (string, *fault) {
	switch action {
	case "FindRecordings":
		return `<tse:FindRecordingsResponse><tse:SearchToken>recordings</tse:SearchToken></tse:FindRecordingsResponse>`, nil
	case "FindEvents":
		if d.cfg.NoHistory {
			return "", notSupported
		}
		return `<tse:FindEventsResponse><tse:SearchToken>` + q.text("IncludedRecordings") + `</tse:SearchToken></tse:FindEventsResponse>`, nil
	case "EndSearch":
		return `<tse:EndSearchResponse/>`, nil
	case "GetReplayUri":
		for _, r := range d.cfg.Recordings {
			if r.Token == q.text("RecordingToken") {
				return `<trp:GetReplayUriResponse><trp:Uri>rtsp://` + d.host(d.cfg.RTSP) + r.Replay + `</trp:Uri></trp:GetReplayUriResponse>`, nil
			}
		}
		return "", &fault{"s:Sender", "ter:NoRecording", "no such recording"}
	}
	state := `<tt:SearchState>Completed</tt:SearchState>`
	if d.cfg.EndlessSearch {
		state = `<tt:SearchState>Searching</tt:SearchState>`
	}
	var b strings.Builder
	for _, r := range d.cfg.Recordings {
		switch {
		case action == "GetRecordingSearchResults":
			d.information(&b, r)
		case q.text("SearchToken") == r.Token:
			history(&b, r)
		}
	}
	return `<tse:` + action + `Response><tse:ResultList>` + state + b.String() + `</tse:ResultList></tse:` + action + `Response>`, nil
}

const instant = "2006-01-02T15:04:05Z"

func (d *Device) information(b *strings.Builder, r Recording) {
	span := ""
	if n := len(r.Held); n > 0 {
		span = fmt.Sprintf(`<tt:EarliestRecording>%s</tt:EarliestRecording><tt:LatestRecording>%s</tt:LatestRecording>`, r.Held[0][0].UTC().Format(instant), r.Held[n-1][1].UTC().Format(instant))
	}
	fmt.Fprintf(b, `<tt:RecordingInformation><tt:RecordingToken>%s</tt:RecordingToken><tt:Source><tt:SourceId>%s</tt:SourceId><tt:Name>%s</tt:Name><tt:Location/><tt:Description/><tt:Address/></tt:Source>%s<tt:Content/><tt:Track><tt:TrackToken>VIDEO001</tt:TrackToken><tt:TrackType>Video</tt:TrackType></tt:Track><tt:RecordingStatus>Recording</tt:RecordingStatus></tt:RecordingInformation>`,
		r.Token, r.Source, r.Name, span)
}

func history(b *strings.Builder, r Recording) {
	for _, held := range r.Held {
		for i, present := range []string{"true", "false"} {
			fmt.Fprintf(b, `<tt:Result><tt:RecordingToken>%s</tt:RecordingToken><tt:TrackToken>VIDEO001</tt:TrackToken><tt:Time>%s</tt:Time><tt:Event><wsnt:Topic>tns1:RecordingHistory/Track/State</wsnt:Topic><wsnt:Message><tt:Message><tt:Data><tt:SimpleItem Name="IsDataPresent" Value="%s"/></tt:Data></tt:Message></wsnt:Message></tt:Event><tt:StartStateEvent>false</tt:StartStateEvent></tt:Result>`,
				r.Token, held[i].UTC().Format(instant), present)
		}
	}
}
