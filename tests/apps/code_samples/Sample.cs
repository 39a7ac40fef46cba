using System;

namespace Demo
{
    public class Stack<T>
    {
        private T[] items;

        /// Adds one.
        [Obsolete]
        public void Push(T item)
        {
            items[0] = item;
        }
    }
}
