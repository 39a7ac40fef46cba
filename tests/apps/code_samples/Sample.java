package demo;

import java.util.List;

/** A stack. */
public class Stack<T> {
    private List<T> items;

    public Stack(List<T> items) {
        this.items = items;
    }

    @Override
    public String toString() {
        return items.toString();
    }
}
