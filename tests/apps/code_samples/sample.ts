interface Shape {
  area(): number;
}

export abstract class Base<T> {
  private items: T[] = [];

  push(item: T): void {
    this.items.push(item);
  }
}

namespace Tools {
  export function sum(values: number[]): number {
    return values.reduce((a, b) => a + b, 0);
  }
}
