#!/bin/bash
set -e

# Says hello.
greet() {
  echo "hello $1"
}

function leave {
  exit 0
}

greet world
