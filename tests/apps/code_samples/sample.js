import fs from "fs";

/** Adds numbers. */
export function add(a, b) {
  return a + b;
}

export const twice = (x) => {
  return x * 2;
};

class Stack {
  #items = [];
  push(item) {
    this.#items.push(item);
  }
}

exports.half = function (x) {
  return x / 2;
};
