require "set"

module Demo
  class Stack
    attr_reader :items

    # Adds one.
    def push(item)
      @items << item
    end

    def self.build
      new
    end
  end
end
