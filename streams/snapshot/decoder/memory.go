package decoder

import (
	"context"

	"github.com/tetratelabs/wazero/experimental"
)

// memory is one instance's memory, reserved whole: it grows without being
// copied and takes room only where it is touched.
type memory struct {
	all   []byte
	short bool // the instance wanted more than all
}

// into has the instance that is made with the context use this memory.
func (m *memory) into(ctx context.Context) context.Context {
	return experimental.WithMemoryAllocator(ctx, experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory { return m }))
}

// Reallocate gives the first size bytes, nil where there are not so many.
func (m *memory) Reallocate(size uint64) []byte {
	if size > uint64(len(m.all)) {
		m.short = true
		return nil
	}
	return m.all[:size]
}

// Free leaves the memory to whoever reserved it.
func (*memory) Free() {}
