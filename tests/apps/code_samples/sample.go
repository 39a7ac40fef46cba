package stack

import "errors"

// Stack holds items.
type Stack[T any] struct {
	items []T
}

// Push adds one.
func (s *Stack[T]) Push(item T) {
	s.items = append(s.items, item)
}

func New() *Stack[int] {
	return &Stack[int]{}
}
