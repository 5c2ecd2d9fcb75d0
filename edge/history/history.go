package history

import (
	"context"
	"sync"
	"time"

	"offsite/devices"
	"offsite/timeseries"
)

// History gives the readings of the past. While the store is being opened
// again every call answers a Problem of kind ErrUnavailable.
type History struct {
	mu    sync.RWMutex // held for reading during a query, so that nothing closes under it
	store timeseries.Store
}

var errClosed = &devices.Problem{
	Kind: devices.ErrUnavailable, Code: "history_closed", ZH: "历史库正在重新打开，请稍候重试", EN: "the history is being opened again; try again shortly",
}

// Swap puts store in the place of the last, whose queries end first; nil closes the
// history.
func (h *History) Swap(store timeseries.Store) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.store = store
}

// ask runs query on the store, if it is open.
func ask[T any](h *History, query func(timeseries.Store) (T, error)) (T, error) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.store == nil {
		var none T
		return none, errClosed
	}
	return query(h.store)
}

// Range is that of [timeseries.Store].
func (h *History) Range(ctx context.Context, s timeseries.Series, from, to time.Time, most int) ([]timeseries.Sample, error) {
	return ask(h, func(st timeseries.Store) ([]timeseries.Sample, error) { return st.Range(ctx, s, from, to, most) })
}

// Windows is that of [timeseries.Store].
func (h *History) Windows(ctx context.Context, s timeseries.Series, from, to time.Time, every time.Duration) ([]timeseries.Window, error) {
	return ask(h, func(st timeseries.Store) ([]timeseries.Window, error) { return st.Windows(ctx, s, from, to, every) })
}

// Last is that of [timeseries.Store].
func (h *History) Last(ctx context.Context, s timeseries.Series) (timeseries.Sample, error) {
	return ask(h, func(st timeseries.Store) (timeseries.Sample, error) { return st.Last(ctx, s) })
}
