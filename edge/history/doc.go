// Package history writes the log of readings to the store of history and reads it
// there again, whichever store that is and however often it is opened.
//
// The embedded store keeps its data in the Pebble store of the readings, under a
// prefix that is handed in; timeseries/local and timeseries/influx describe theirs.
package history
