<?php
namespace Demo;

/** A stack. */
class Stack {
    private array $items = [];

    public function push($item): void {
        $this->items[] = $item;
    }
}

function sum(array $values): int {
    return array_sum($values);
}
