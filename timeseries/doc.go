// Package timeseries is the vocabulary of readings in time: the [Record] as it
// stands in the log, the [Series] of one point, its [Sample]s and [Window]s,
// and the contract of every [Store] of history.
//
// A series is known by its site and its point id "outlet.point", never by the
// device that measured it. Times are whole milliseconds, UTC; windows and days
// are aligned in Beijing time (UTC+8, without daylight saving).
package timeseries
