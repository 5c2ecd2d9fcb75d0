package trial

// limitValue is the set point of every point of the trial; it has neither
// deadband nor delay.
const limitValue = 100.0

// alarm is what the oracle expects and what the platform was told.
type alarm struct {
	Point   string
	Started int64 // Unix milliseconds
	Ended   int64 // 0 while it goes on
}

// oracle computes the alarms of one point directly from its readings.
func oracle(point string, list []sent) []alarm {
	var alarms []alarm
	over := false
	for _, s := range list {
		switch now := s.value > limitValue; {
		case now && !over:
			alarms = append(alarms, alarm{Point: point, Started: s.at})
			over = true
		case !now && over:
			alarms[len(alarms)-1].Ended = s.at
			over = false
		}
	}
	return alarms
}
